use std::io::Read;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args[0].as_str() {
        "talk" => {
            println!("héllo 世界 🦊");
            println!("{}", args[1..].iter().map(|arg| format!("[{arg}]")).collect::<String>());
            let mut given = String::new();
            std::io::stdin().read_to_string(&mut given).unwrap();
            print!("got {given}");
        }
        "exit" => {
            eprintln!("bye");
            std::process::exit(7);
        }
        "crash" => panic!("crash"),
        _ => loop {},
    }
}
