"""What several commands share: settings and their order, prompts, and models that generate."""
