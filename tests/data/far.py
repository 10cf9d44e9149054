"""A file system whose server is gone: FUSE, mounted on DIRECTORY, of which nobody reads a request.

It lasts as long as this process. Usage: far.py DIRECTORY"""

import ctypes
import os
import signal
import sys

device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"far", sys.argv[1].encode(), b"fuse", 0, options.encode()):
    sys.exit(f"mount {sys.argv[1]}: {os.strerror(ctypes.get_errno())}")
signal.pause()
