"""The localization benchmark: what is trained and measured, how, and what came out."""
