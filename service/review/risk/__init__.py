"""The risk of one person explained, what would change it, its course over the stay, and a department at this moment."""
