"""Reads walkaudit's result files; knows nothing of models, vindexes or MPI.

result    opens and checks a file, reads it in pieces          text      numbers and tokens as people read them
metrics   what each figure means, in one sentence              stats     one pass over the observations of a case
facts     what a report says, as one document (the JSON)       markdown, page   the same for people
figures   matplotlib figures                                   verbs     one module per verb of the command
labels    a result as xarray datasets, for notebooks: `walkaudit_report.open(path)`
"""
from .labels import open  # noqa: A004

__all__ = ["open"]
