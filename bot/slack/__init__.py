"""Ways in from Slack: Bolt listeners, the clerk behind them, what it says to one person, Socket Mode connections."""
