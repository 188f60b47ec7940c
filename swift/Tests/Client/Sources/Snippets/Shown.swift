// What is shown stands beside this.
