"""Load the Qt binding, and print which it is and which Qt runs beneath it."""

import json
import sys

import qtpy
from qtpy import QtWidgets
from qtpy.QtCore import qVersion

if __name__ == "__main__":
    assert QtWidgets.QApplication  # loaded with all its libraries
    # A binding is built for one Qt and runs on another: only Qt itself says which that is.
    sys.stdout.write(json.dumps({"binding": qtpy.API_NAME, "version": qVersion()}) + "\n")
