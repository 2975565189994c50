"""The draft report on a page: edited sentence by sentence, signed by who is logged in, and printed as what it is."""
