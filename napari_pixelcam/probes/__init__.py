"""Small programs that the doctor runs apart: a Qt that cannot load may end the process that imports it."""
