"""Loads the library that it is given and has it check itself."""
import ctypes
import sys

library = ctypes.CDLL(sys.argv[1])
if library.linking_check():
    sys.exit("thread-locals are shared")
print("ok")
