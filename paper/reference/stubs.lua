-- Write the sources of the reference into a folder: ./flowmap lua paper/reference/stubs.lua FOLDER
require("flowmap").reference.write(arg[1])
