"""One page of HTML that shows what a run, or several, did."""
