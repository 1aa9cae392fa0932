"""HTTP views of messages: parse, call one service, render."""
