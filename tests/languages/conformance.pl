use strict;
use warnings;
my ($mode, @args) = @ARGV;
if    ($mode eq "talk")  { print "héllo 世界 🦊\n", map("[$_]", @args), "\n"; local $/; print "got " . <STDIN> }
elsif ($mode eq "exit")  { print STDERR "bye\n"; exit 7 }
elsif ($mode eq "crash") { die "crash" }
else                     { 1 while 1 }
