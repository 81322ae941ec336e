module feeds

go 1.24
