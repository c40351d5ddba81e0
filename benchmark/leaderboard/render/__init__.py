"""How the leaderboard is shown: markdown, web page, plots, galleries, terminal."""
