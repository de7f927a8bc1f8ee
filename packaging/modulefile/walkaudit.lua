-- Lmod: MODULEPATH/walkaudit/VERSION.lua
help([[Audits fast ways of running a language model's feed-forward networks against the dense model.
`walkaudit help` lists the verbs.]])
whatis("Name: walkaudit")
whatis("Version: " .. myModuleVersion())

local root = "/opt/walkaudit/" .. myModuleVersion() -- CMAKE_INSTALL_PREFIX

prepend_path("PATH", pathJoin(root, "bin"))
prepend_path("MANPATH", pathJoin(root, "share/man"))
prepend_path("CPATH", pathJoin(root, "include"))
setenv("WALKAUDIT_SLURM", pathJoin(root, "share/walkaudit/slurm"))
