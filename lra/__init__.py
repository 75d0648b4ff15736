"""Long Range Arena: tasks, attention variants and a leaderboard that anyone can make again."""

__version__ = "0.1.0"
