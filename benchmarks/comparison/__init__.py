"""What a comparison with peers is made of: their processes, the rounds, the report and the plot."""
