"""What is fast and what is slow: measured side by side with what a user would pick instead."""
