"""The dock's sections as a person sees them; all that they decide is in the controllers."""
