"""What each command does: a file per verb, called by the command line and by Python users alike."""
