"""The domain of moving Kafka services between clusters: plans, offsets, cutover, proof. It never imports Airflow."""
