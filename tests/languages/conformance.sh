mode=$1
shift
case $mode in
  talk)
    echo "héllo 世界 🦊"
    printf '[%s]' "$@" && echo
    printf 'got %s\n' "$(cat)"
    ;;
  exit) echo bye >&2 && exit 7 ;;
  crash) kill -ABRT $$ ;;
  spin) while :; do :; done ;;
esac
