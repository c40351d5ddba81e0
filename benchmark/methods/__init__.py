"""How methods are found and described, and the contract that their explanations are held to."""
