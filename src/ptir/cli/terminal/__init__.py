"""What is said in a terminal: text that cannot steer it, and the conversation of `ptir chat`."""
