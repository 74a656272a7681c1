-- luacheck lua experiments tests: no globals, no unused names, 100 columns.
std = "lua54"
max_line_length = 100
self = false -- methods need not use self
exclude_files = { "build", "results" }
