import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fillFromDebian, provideImage } from '../kubernetes/index.ts'

/** Debian's packages that make the images; nothing else is needed, and no registry. */
const packages = {
  wordpress: ['wordpress', 'wordpress-theme-twentytwentythree', 'libapache2-mod-php', 'php-mysql'],
  mariadb: ['mariadb-server'],
} as const

/** Makes the images of WordPress and MariaDB unless they are there, and loads them on the nodes. */
export async function provideWordpressImages(nodes: string[]): Promise<void> {
  await provideImage(nodes, {
    name: 'wordpress',
    entrypoint: ['/start'],
    async fill(root) {
      await fillFromDebian(root, [...packages.wordpress])
      writeScript(root, startWordpress)
      writeFileSync(join(root, 'usr/share/wordpress/wp-config.php'), configuration)
      writeFileSync(join(root, 'etc/apache2/sites-available/000-default.conf'), site)
    },
  })
  await provideImage(nodes, {
    name: 'mariadb',
    entrypoint: ['/start'],
    async fill(root) {
      await fillFromDebian(root, [...packages.mariadb])
      await rm(join(root, 'var/lib/mysql'), { recursive: true, force: true })
      mkdirSync(join(root, 'var/lib/mysql'))
      writeScript(root, startMariadb)
    },
  })
}

function writeScript(root: string, text: string): void {
  writeFileSync(join(root, 'start'), text)
  chmodSync(join(root, 'start'), 0o755)
}

/** The installation runs in one replica; the others find it done. */
const startWordpress = `#!/bin/sh
set -eu
ulimit -n 4096 # PHP tries to close as many as may be open
until php -r 'exit(@fsockopen(getenv("DATABASE_HOST"), 3306) ? 0 : 1);'; do sleep 0.5; done
cd /usr/share/wordpress
HTTP_HOST=localhost php -d display_errors=0 -r '
  $_SERVER["HTTP_HOST"] = "localhost";
  define("WP_INSTALLING", true);
  require "wp-load.php";
  require_once ABSPATH . "wp-admin/includes/upgrade.php";
  $database = $GLOBALS["wpdb"];
  $database->query("SELECT GET_LOCK(\\"installation\\", 60)");
  if (!$database->get_var("SHOW TABLES LIKE \\"wp_options\\"")) {
    wp_install(getenv("SITE_TITLE"), "admin", "admin@example.com", true, "", bin2hex(random_bytes(9)));
  }
' >/dev/null
set +u
. /etc/apache2/envvars
mkdir -p /run/apache2 "$APACHE_LOCK_DIR"
exec apache2 -D FOREGROUND
`

/** The site is reached by the address of each replica and by that of the Service, so it is wherever it was asked. */
const configuration = `<?php
define('DB_NAME', 'wordpress');
define('DB_USER', 'wordpress');
define('DB_PASSWORD', getenv('DATABASE_PASSWORD'));
define('DB_HOST', getenv('DATABASE_HOST'));
define('DB_CHARSET', 'utf8mb4');
define('DB_COLLATE', '');
define('WP_HOME', 'http://' . $_SERVER['HTTP_HOST']);
define('WP_SITEURL', 'http://' . $_SERVER['HTTP_HOST']);
define('WP_HTTP_BLOCK_EXTERNAL', true);
define('AUTOMATIC_UPDATER_DISABLED', true);
define('DISABLE_WP_CRON', true);
$table_prefix = 'wp_';
if (!headers_sent()) header('X-Replica: ' . gethostname());
if (!defined('ABSPATH')) define('ABSPATH', '/usr/share/wordpress/');
require_once ABSPATH . 'wp-settings.php';
`

const site = `<VirtualHost *:80>
  DocumentRoot /usr/share/wordpress
  <Directory /usr/share/wordpress>
    DirectoryIndex index.php
    Require all granted
    Options FollowSymLinks
  </Directory>
  PassEnv DATABASE_HOST DATABASE_PASSWORD
  ErrorLog /dev/stderr
</VirtualHost>
`

const startMariadb = `#!/bin/sh
set -eu
chown mysql:mysql /var/lib/mysql
mkdir -p /run/mysqld && chown mysql:mysql /run/mysqld
if ! [ -d /var/lib/mysql/mysql ]; then
  mariadb-install-db --user=mysql --datadir=/var/lib/mysql --skip-test-db --auth-root-authentication-method=socket >/dev/null
fi
cat >/run/mysqld/first.sql <<SQL
CREATE DATABASE IF NOT EXISTS wordpress CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS 'wordpress'@'%' IDENTIFIED BY '$DATABASE_PASSWORD';
GRANT ALL ON wordpress.* TO 'wordpress'@'%';
SQL
exec mariadbd --user=mysql --datadir=/var/lib/mysql --bind-address=0.0.0.0 --skip-name-resolve --init-file=/run/mysqld/first.sql
`
