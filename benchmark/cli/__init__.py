"""The command line: arguments, checked before torch is imported, and the commands behind them."""
