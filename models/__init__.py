"""What a model is: the contract, the releases and the code that runs them. No torch, no network, no database."""
