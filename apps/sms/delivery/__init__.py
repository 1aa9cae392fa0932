"""Delivery: from Kafka to the operators, at each customer's own pace."""
