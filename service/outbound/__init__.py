"""The only ways out of this house by HTTP to servers that the site file names."""
