"""One module per verb of the command; cli.py says what each offers."""
