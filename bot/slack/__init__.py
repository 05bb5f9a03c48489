"""Ways in from Slack: the words of `/capture`, Bolt listeners, Socket Mode connections."""
