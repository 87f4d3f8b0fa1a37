"""The logic of the dock, one controller a section, without Qt."""
