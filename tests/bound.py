"""Put before a command, this lets permissions bind it, also where root runs the tests.

What the bounding set lacks root's next program does not get, man 7 capabilities.
"""

import ctypes
import os
import sys

BOUND = (sys.executable, __file__)

_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2

if __name__ == "__main__":
    if os.geteuid() == 0:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            if prctl(_PR_CAPBSET_DROP, capability):
                raise OSError(ctypes.get_errno(), "root keeps its capabilities")
    os.execv(sys.argv[1], sys.argv[1:])
