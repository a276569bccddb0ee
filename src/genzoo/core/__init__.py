"""Say what a system is: its base class, its capabilities, its signature read as a form; and the errors and files that all rooms share."""
