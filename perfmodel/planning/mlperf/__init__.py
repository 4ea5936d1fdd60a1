"""Would LoadGen call a run of this node VALID? MLPerf inference's Server and Offline scenarios."""
