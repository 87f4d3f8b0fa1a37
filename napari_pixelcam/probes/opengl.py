"""Make an OpenGL context with Qt, and print whose it is."""

import json
import sys

from OpenGL import GL
from qtpy import QtWidgets
from qtpy.QtGui import QOffscreenSurface, QOpenGLContext

if __name__ == "__main__":
    app = QtWidgets.QApplication(sys.argv[:1])
    surface, context = QOffscreenSurface(), QOpenGLContext()
    surface.create()
    if not (context.create() and context.makeCurrent(surface)):
        sys.exit("Qt could not make an OpenGL context")
    version, renderer = (GL.glGetString(name).decode() for name in (GL.GL_VERSION, GL.GL_RENDERER))
    context.doneCurrent()
    sys.stdout.write(json.dumps({"version": version, "renderer": renderer}) + "\n")
