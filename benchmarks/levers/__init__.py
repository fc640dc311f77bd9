"""What each piece of the recipe is worth, by cross-validation inside BANKING77's training rows: see ``__main__``."""
