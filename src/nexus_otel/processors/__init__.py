"""What is done with every span of a provider besides recording it."""
