"""How good the mined pairs are: figures for programs, pictures for people."""
