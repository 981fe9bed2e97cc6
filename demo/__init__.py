"""A demonstration store: generate believable wedding conversations, load them, show them."""
