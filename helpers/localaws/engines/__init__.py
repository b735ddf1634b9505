"""What runs: training hosts, model servers, Lambda environments, and the clock they all wait by."""
