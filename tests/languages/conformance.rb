mode, *args = ARGV
case mode
when "talk"
  puts "héllo 世界 🦊"
  puts args.map { |arg| "[#{arg}]" }.join
  print "got " + $stdin.read
when "exit"
  warn "bye"
  exit 7
when "crash" then raise "crash"
when "spin" then loop {}
end
