"""What a user asks for besides a leaderboard: check or evaluate a method, verify committed rows, plan a run."""
