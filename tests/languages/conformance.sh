mode=$1
shift
case $mode in
  hello) echo hello ;;
  stdin) printf 'got %s\n' "$(cat)" ;;
  args) printf '[%s]' "$@" && echo ;;
  exit) echo bye >&2 && exit 7 ;;
  crash) kill -ABRT $$ ;;
  utf8) echo "héllo 世界 🦊 $1" ;;
  spin) while :; do :; done ;;
esac
