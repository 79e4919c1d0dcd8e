mode, *args = ARGV
case mode
when "hello" then puts "hello"
when "stdin" then print "got " + $stdin.read
when "args" then puts args.map { |arg| "[#{arg}]" }.join
when "exit"
  warn "bye"
  exit 7
when "crash" then raise "crash"
when "utf8" then puts "héllo 世界 🦊 " + args[0]
when "spin" then loop {}
end
