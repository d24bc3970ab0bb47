"""Scripts that start jobs; a package only so that they travel in the wheel."""
