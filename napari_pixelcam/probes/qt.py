"""Load the Qt binding, and print which it is."""

import json
import sys

import qtpy
from qtpy import QtWidgets

if __name__ == "__main__":
    assert QtWidgets.QApplication  # loaded with all its libraries
    sys.stdout.write(json.dumps({"binding": qtpy.API_NAME, "version": qtpy.QT_VERSION}) + "\n")
