"""How a model is made: data, networks, fitting, export, evaluation. The only room that imports torch."""
